"""The folder of a campaign, and how to find one."""
