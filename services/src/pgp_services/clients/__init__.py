"""What the services call, each with providers in place of values: one client a party."""
