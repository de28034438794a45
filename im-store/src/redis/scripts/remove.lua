-- Removes the links ARGV from the user's hash at KEYS[1]. Returns 1 if others are left.
redis.call('HDEL', KEYS[1], unpack(ARGV))
return redis.call('EXISTS', KEYS[1])
