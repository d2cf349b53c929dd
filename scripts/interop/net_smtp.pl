#!/usr/bin/perl
# Net::SMTP against a server.
#   net_smtp.pl HOST PORT send FROM TO...     sends the letter on standard input to all of TO
#   net_smtp.pl HOST PORT some FROM TO...     the same, to those that the server takes
#   net_smtp.pl HOST PORT ask NAME            asks everything that Net::SMTP can ask
use strict;
use warnings;
use Net::SMTP;

my ($host, $port, $what, @rest) = @ARGV;
my $smtp = Net::SMTP->new($host, Port => $port, Hello => 'topaz.test', Timeout => 10)
    or die "new: $@\n";

sub must {
    my ($name, $held) = @_;
    die "$name: " . $smtp->code . ' ' . $smtp->message unless $held;
    return $held;
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
