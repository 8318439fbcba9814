"""popips-follow: logins from the lines that a server logs, where it has neither PAM nor a post-login script."""
