"""Who runs a campaign's next action: this process, or FireWorks."""
