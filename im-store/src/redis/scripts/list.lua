-- ARGV: head rows ttl. Keeps a conversation list, which was made at this head.
redis.call('HSET', KEYS[1], 'head', ARGV[1], 'rows', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
