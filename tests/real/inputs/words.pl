# SPDX-License-Identifier: Apache-2.0
use strict;
use warnings;

my %lines_with;
for my $line (1 .. 40000) {
	push @{ $lines_with{ "word" . ($line % 5000) } }, "line $line";
}
my $longest = join ',', map { @{ $lines_with{$_} } } sort keys %lines_with;
delete @lines_with{ grep { /7/ } keys %lines_with };
print scalar(keys %lines_with), ' ', length($longest), "\n";
warn "done\n";
