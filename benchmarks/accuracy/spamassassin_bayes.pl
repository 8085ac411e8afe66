#!/usr/bin/perl
# SpamAssassin's Bayes alone, in one process that stays.  Arguments: folder for its files, then lines of configuration.
# Reads "score LENGTH" or "learn ham LENGTH" or "learn spam LENGTH", a line feed and LENGTH octets; answers with one line: the
# probability with all digits, "none" when Bayes has no opinion, or 1 (learned) or 0 (not taken).
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($folder, @lines) = @ARGV;
my $rules = '/usr/share/spamassassin';
my $text = join("\n", 'loadplugin Mail::SpamAssassin::Plugin::Check', 'loadplugin Mail::SpamAssassin::Plugin::Bayes',
    q{body BAYES_ANY eval:check_bayes('0.00', '1.00')},
    "bayes_path $folder/bayes", @lines, '');
for my $name ('20_aux_tlds.cf', '60_bayes_stopwords.cf') {    # what its tokens need: top-level domains, stop words
    open(my $in, '<', "$rules/$name") or die "$rules/$name: $!\n";
    $text .= join('', grep { !/^\s*require_version/ } <$in>) . "\n";
    close($in);
}
my $sa = Mail::SpamAssassin->new({
    config_text => $text, local_tests_only => 1, dont_copy_prefs => 1, userprefs_filename => "$folder/none",
    userstate_dir => $folder, home_dir_for_helpers => $folder, debug => $ENV{SA_DEBUG},
});
$sa->compile_now(0, 1);
$sa->init_learner({ caller_will_untie => 0, wait_for_lock => 1 });
binmode(STDIN);
$| = 1;
print "ready $Mail::SpamAssassin::VERSION\n";

my ($held, $mail) = ('', undef);
while (my $line = <STDIN>) {
    $line =~ /^(score|learn (ham|spam)) (\d+)$/ or die "not a command: $line";
    my ($verb, $label) = ($1, $2);
    my $octets = '';
    read(STDIN, $octets, $3) == $3 or die "input ended\n";
    if (!defined $mail || $octets ne $held) {
        $mail->finish() if defined $mail;
        ($held, $mail) = ($octets, $sa->parse($octets, 1));
    }
    if ($verb eq 'score') {
        my $status = $sa->check($mail);
        my $found = $status->{bayes_score};
        print defined $found ? sprintf("%.17g\n", $found) : "none\n";
        $status->finish();
    } else {
        my $status = $sa->learn($mail, undef, $label eq 'spam' ? 1 : 0, 0);
        print $status->did_learn() ? "1\n" : "0\n";
        $status->finish();
    }
}
$sa->finish_learner();
