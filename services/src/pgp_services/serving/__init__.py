"""What all applications of the fleet share: answers, bodies, routes, and one file a framework."""
