"""Credits: who has how many, what is reserved and every movement. Knows neither jobs nor HTTP."""
