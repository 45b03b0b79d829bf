"""What an account keeps for its graphs: files, editor settings, runs. Knows neither HTTP nor how a graph is run."""
