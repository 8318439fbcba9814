"""popips: POP-before-SMTP for sendmail and Postfix. A login opens the relay to its address for a while."""

__version__ = "1.0.0"
