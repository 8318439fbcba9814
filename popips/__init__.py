"""popips: POP-before-SMTP for sendmail. A login by POP3 or IMAP opens the relay to its address for a while."""

__version__ = "0.1.0"
