`python -m ka_twisted completion bash|zsh|fish` prints a completion of the options; zsh's own completion of `twistd` knows the values too.
