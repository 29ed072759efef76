A connection log remembers how the last connections ended, and what was decided on each of their latest requests; it tells the same of the open ones so far. It is bounded whatever clients send.
