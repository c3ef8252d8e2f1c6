"""The tile engine: survey, conditioning, plan, runner, devices."""
