"""The expirer of popips: popips-expire, run by a timer or cron every minute."""
