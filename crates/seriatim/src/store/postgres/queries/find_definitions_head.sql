-- The end of the definitions chain, which is chain 0.
select v.position, v.hash from seriatim.event v where v.chain = 0 order by v.position desc limit 1
