`python -m benchmarks paired REV` compares the server with another commit of it: processor time per request under five loads, and memory of an idle connection, on both reactors, in alternated pairs.
