"""The operator: turns ImageJobs into Jobs, and NodeLimits into Leases."""
