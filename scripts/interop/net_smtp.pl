#!/usr/bin/perl
# Net::SMTP against a server.
#   net_smtp.pl HOST PORT send FROM TO...     sends the letter on standard input to all of TO
#   net_smtp.pl HOST PORT some FROM TO...     the same, to those that the server takes
#   net_smtp.pl HOST PORT ask NAME            asks everything that Net::SMTP can ask
# SMTP_TLS is starttls or tls, with the authority in SMTP_AUTHORITY; SMTP_MECHANISM logs SMTP_USER in with SMTP_PASSWORD.
use strict;
use warnings;
use Net::SMTP;

my ($host, $port, $what, @rest) = @ARGV;
my $tls = $ENV{SMTP_TLS} // '';
my %authority = (SSL_ca_file => $ENV{SMTP_AUTHORITY} // '');
my $smtp = Net::SMTP->new($host, Port => $port, Hello => 'topaz.test', Timeout => 10,
    ($tls eq 'tls' ? (SSL => 1, %authority) : ()))
    or die "new: $@\n";

sub must {
    my ($name, $held) = @_;
    die "$name: " . $smtp->code . ' ' . $smtp->message unless $held;
    return $held;
}

must('starttls', $smtp->starttls(%authority)) if $tls eq 'starttls';
if ($ENV{SMTP_MECHANISM}) {
    require Authen::SASL;
    my $sasl = Authen::SASL->new(mechanism => $ENV{SMTP_MECHANISM},
        callback => {user => $ENV{SMTP_USER}, authname => '', pass => $ENV{SMTP_PASSWORD}});
    must('auth', $smtp->auth($sasl));
}

if ($what eq 'send' or $what eq 'some') {
    my ($from, @to) = @rest;
    binmode STDIN;
    my $letter = do { local $/; <STDIN> };
    must('mail', $smtp->mail($from));
    if ($what eq 'send') {
        must('recipient', $smtp->recipient(@to));
    } else {
        print "taken: $_\n" for $smtp->recipient(@to, { SkipBad => 1 });
    }
    must('data', $smtp->data);
    must('datasend', $smtp->datasend($letter));
    must('dataend', $smtp->dataend);
} else {
    my ($name) = @rest;
    print 'banner: ', $smtp->banner, "\n";
    print 'domain: ', $smtp->domain, "\n";
    for my $extension (qw(SIZE PIPELINING 8BITMIME STARTTLS AUTH)) {
        my $value = $smtp->supports($extension);
        print "supports $extension: ", (defined $value ? "yes $value" : 'no'), "\n";
    }
    print 'verify known: ', ($smtp->verify($name) ? 'yes' : 'no'), ' ', $smtp->code, "\n";
    print 'verify unknown: ', ($smtp->verify('nobody-here') ? 'yes' : 'no'), ' ', $smtp->code, "\n";
    print 'help: ', scalar(() = $smtp->help), ' ', $smtp->code, "\n";
    print 'help MAIL: ', scalar(() = $smtp->help('MAIL')), ' ', $smtp->code, "\n";
    must('mail', $smtp->mail('hedrick@topaz.test'));
    must('reset', $smtp->reset);
    print 'recipient after reset: ', ($smtp->to("$name\@red.test") ? 'yes' : 'no'), ' ',
        $smtp->code, "\n";
    print 'expand: ', ($smtp->expand($name) ? 'yes' : 'no'), ' ', $smtp->code, "\n";
}
must('quit', $smtp->quit);
print "quit: ", $smtp->code, "\n";
