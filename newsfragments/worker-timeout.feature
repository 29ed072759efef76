`--worker-timeout`: a worker whose event loop is blocked for so long is killed and replaced, and says where it was stuck.
