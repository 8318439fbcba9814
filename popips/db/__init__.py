"""popips-db, the admin's tool: a module for each verb, or for two that belong together."""
