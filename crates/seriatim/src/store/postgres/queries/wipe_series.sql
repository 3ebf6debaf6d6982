-- Everything of a test series but its definition.
with counters as (
    select c.no from seriatim.counter c where c.series = $1::text
), entries as (
    delete from seriatim.entry e using counters c where e.counter = c.no
), keys as (
    delete from seriatim.key k using counters c where k.counter = c.no
), events as (
    delete from seriatim.event v using counters c where v.chain = c.no
), missing as (
    delete from seriatim.missing m using counters c where m.counter = c.no
), closures as (
    delete from seriatim.closure o where o.series = $1::text
)
delete from seriatim.counter c where c.series = $1::text
