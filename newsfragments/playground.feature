The playground, which `twistd keepalive` serves by default: a page about your very connection, and routes that echo, wait, stream, count uploads up to a limit, and answer with any status.
