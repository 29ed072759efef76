`--behind nginx|haproxy|alb|envoy` sets the timers that a balancer in front calls for, and warns when one that is set by hand is not longer than the balancer's own.
