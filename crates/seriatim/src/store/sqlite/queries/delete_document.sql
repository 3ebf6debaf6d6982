-- A redaction: the hash stays in the entry and in the chain.
delete from document where entry = ?1
