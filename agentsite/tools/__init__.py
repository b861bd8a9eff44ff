"""What a model can do: tools as values, one executor that runs them, one file per tool."""
