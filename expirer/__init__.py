"""The expirer of popips: popips-expire, run by cron every minute."""
