# The host behind the nodes: answers HTTP with the address that the request came from,
# which is the node's that the client is at.
use strict;
use warnings;
use IO::Socket::INET;
$SIG{TERM} = $SIG{INT} = sub { exit 0 };
my $listener = IO::Socket::INET->new(LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die "listen: $!";
while (1) {
    my $c = $listener->accept or next;
    $c->timeout(2);
    my $line = <$c>;
    while (defined $line && $line =~ /\S/) { $line = <$c> }
    my $body = "You are inside. You come from " . ($c->peerhost // "nowhere") . "\n";
    print $c "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body";
    close $c;
}
