"""The tile engine: sources, survey, plan, runner, sinks, devices."""
