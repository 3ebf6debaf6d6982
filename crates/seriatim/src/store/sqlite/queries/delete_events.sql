-- Part of a wipe; that it happened is an event of the definitions chain.
delete from event where chain = ?1
