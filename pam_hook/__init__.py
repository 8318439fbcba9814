"""The login side of popips: popips-hook for pam_exec, popips-postlogin for Dovecot. No login fails because of it."""
