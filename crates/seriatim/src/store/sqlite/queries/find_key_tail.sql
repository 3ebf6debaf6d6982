select after from key_tail
