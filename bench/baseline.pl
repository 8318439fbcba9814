#!/usr/bin/perl
# baseline.pl MAP STAMPDIR: a hook for pam_exec as one writes it in Perl: start, tie, lock, put, make the stamp.
use strict;
use warnings;
use Fcntl qw(:flock O_RDWR);
use DB_File;

my ($map, $stamps) = @ARGV;
my $address = $ENV{PAM_RHOST};
my $db = tie(my %records, 'DB_File', $map, O_RDWR, 0600, $DB_HASH) or die "$map: $!";
open(my $lock, '+<&=', $db->fd) or die "$map: $!";
flock($lock, LOCK_EX) or die "$map: $!";
$records{$address} = 'RELAY';
open(my $stamp, '>', "$stamps/$address") or die "$stamps/$address: $!";
close($stamp);
undef $db;
untie %records;
