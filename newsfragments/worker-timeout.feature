`--worker-timeout`: a worker whose reactor does not turn any more is killed and replaced, and says where it was stuck.
