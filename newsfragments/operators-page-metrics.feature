The operator's page lists every metric with its help and unit, and says in plainer words what is wrong.
