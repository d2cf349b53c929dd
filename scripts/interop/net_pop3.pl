#!/usr/bin/perl
# Net::POP3 against a server. NET_POP3_PASSWORD has the password; HOW is login, apop or auth.
#   net_pop3.pl HOST PORT USER HOW fetch DIR   each message into a file of DIR
#   net_pop3.pl HOST PORT USER HOW ask         everything that Net::POP3 can ask
#   net_pop3.pl HOST PORT USER HOW delete N    deletes N, tries RSET first
# NET_POP3_TLS is stls or tls, or there is none; NET_POP3_CA has the authority's certificate.
use strict;
use warnings;
use Net::POP3;

my ($host, $port, $user, $how, $what, @rest) = @ARGV;
my $tls = $ENV{NET_POP3_TLS} // '';
my @authority = (SSL_ca_file => $ENV{NET_POP3_CA}, SSL_verifycn_name => $host);
my $pop = Net::POP3->new($host, Port => $port, Timeout => 10, $tls eq 'tls' ? (SSL => 1, @authority) : ())
    or die "new: $@\n";
print 'banner: ', $pop->banner, "\n";
$pop->starttls(@authority) or die 'starttls: ' . $pop->message if $tls eq 'stls';
my $count = $pop->$how($user, $ENV{NET_POP3_PASSWORD});
die "$how: " . $pop->message unless defined $count;
($count) = $pop->popstat if $how eq 'auth';    # which tells no number
print "messages: ", $count + 0, "\n";

if ($what eq 'fetch') {
    for my $number (1 .. $count) {
        my $lines = $pop->get($number) or die "get $number: " . $pop->message;
        open my $file, '>:raw', sprintf '%s/%04d', $rest[0], $number or die "open: $!\n";
        print $file @$lines;
        close $file or die "close: $!\n";
    }
} elsif ($what eq 'ask') {
    my ($messages, $octets) = $pop->popstat;
    print "popstat: $messages $octets\n";
    my $sizes = $pop->list;
    print "list: $_ $sizes->{$_}\n" for sort { $a <=> $b } keys %$sizes;
    print 'list 1: ', $pop->list(1), "\n";
    my $ids = $pop->uidl;
    print "uidl: $_ $ids->{$_}\n" for sort { $a <=> $b } keys %$ids;
    print 'uidl 1: ', $pop->uidl(1), "\n";
    print 'top 1 0: ', scalar @{ $pop->top(1, 0) }, "\n";
    print 'top 1 2: ', scalar @{ $pop->top(1, 2) }, "\n";
    print 'get 999: ', (defined $pop->get(999) ? 'yes' : 'no'), "\n";
    print 'last: ', (defined $pop->last ? 'yes' : 'no'), "\n";
    print 'ping: ', (defined $pop->ping($user) ? 'yes' : 'no'), "\n";
    my $capabilities = $pop->capabilities;
    print "capability: $_ $capabilities->{$_}\n" for sort keys %$capabilities;
} else {
    $pop->delete($rest[0]) or die "delete: " . $pop->message;
    print 'after delete: ', join(' ', $pop->popstat), "\n";
    $pop->reset;    # gives back nothing that tells how it went
    $pop->ok or die "reset: " . $pop->message;
    print 'after reset: ', join(' ', $pop->popstat), "\n";
    $pop->delete($rest[0]) or die "delete: " . $pop->message;
    print 'deleted twice: ', ($pop->delete($rest[0]) ? 'yes' : 'no'), "\n";
}
$pop->quit or die "quit: " . $pop->message;
print "quit\n";
