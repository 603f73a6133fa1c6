divert(-1)
dnl FEATURE(`bsmtp' [, `key=value'...]): a mail tunnel on a sendmail host, in five parts.
dnl
dnl  1. The milter, last in the list whatever confINPUT_MAIL_FILTERS says and when, F=T.
dnl  2. Class P: names below bsmtp.invalid are canonical, so that no look-up in the DNS delays them.
dnl  3. Ruleset bsmtp_route, called from ParseLocal for every recipient, however it came about (RCPT,
dnl     alias, .forward, bounce): diverted addresses and tunneled domains go to mailer bsmtp-out,
dnl     this gateway's parcel address and return addresses to bsmtp-in, exempt addresses nowhere.
dnl  4. A daemon on a loopback port for unpacked mail. Being local earns nothing there: what port 25
dnl     takes from a stranger is taken, nothing else. All other milters are on.
dnl  5. SMTP clients may not name bsmtp.invalid; the reverse-path of parcels is never masqueraded.
dnl
dnl MAILER(`bsmtp') must follow. Keys, each also a define made before (BSMTP_HOST ...):
dnl   host=hub.domain.com      bsmtp.conf: host         default $j
dnl   user=bsmtp               bsmtp.conf: user         local part of the parcel address
dnl   socket=unix:PATH         bsmtp.conf: milter-socket
dnl   port=10027 listen=127.0.0.1   bsmtp.conf: resubmit
dnl   map=hash /etc/mail/bsmtp what `bsmtpctl rules export --sendmail' writes, through makemap
dnl   socketmap=unix:PATH      bsmtp.conf: socketmap-socket; bsmtp-milter is asked for each recipient
dnl                            that is not local (class w), for rules that no table can express
dnl   run-as=bsmtp:bsmtp       who the agents become
dnl   agents=DIRECTORY         where bsmtp-out and bsmtp-in are
dnl   filter=bsmtp daemon=bsmtp-resubmit   names in sendmail.cf and logs
dnl   timeouts=C:10s;...       of the milter

divert(0)
VERSIONID(`bsmtp-tunnel: feature/bsmtp.m4')
divert(-1)

ifdef(`_BSMTP_FEATURE_', `errprint(`*** ERROR: FEATURE(bsmtp) is there already
')')
define(`_BSMTP_FEATURE_', `1')
ifdef(`_NULL_CLIENT_ONLY_', `errprint(`*** ERROR: FEATURE(bsmtp) has no meaning on a nullclient
')')

dnl --- arguments -----------------------------------------------------------------------------
define(`_BSMTP_KEYS_', ` host user socket port listen map socketmap run-as agents filter daemon timeouts ')
define(`_BSMTP_NAME_', `BSMTP_`'translit(`$1', `abcdefghijklmnopqrstuvwxyz-', `ABCDEFGHIJKLMNOPQRSTUVWXYZ_')')
define(`_BSMTP_PAIR_', `ifelse(index(_BSMTP_KEYS_, ` $1 '), `-1',
`errprint(`*** ERROR: FEATURE(bsmtp): unknown argument "$1"; there are'_BSMTP_KEYS_`
')', `define(_BSMTP_NAME_(`$1'), `$2')')')
define(`_BSMTP_ARGUMENT_', `ifelse(`$1', `', `', index(`$1', `='), `-1', `_BSMTP_PAIR_(`$1')',
`_BSMTP_PAIR_(substr(`$1', 0, index(`$1', `=')), substr(`$1', eval(index(`$1', `=') + 1)))')')
define(`_BSMTP_ARGUMENTS_', `_BSMTP_ARGUMENT_(`$1')ifelse(eval($# > 1), `1', `_BSMTP_ARGUMENTS_(shift($@))')')
_BSMTP_ARGUMENTS_(_ARGS_)

_DEFIFNOT(`BSMTP_HOST', `$j')
_DEFIFNOT(`BSMTP_USER', `bsmtp')
_DEFIFNOT(`BSMTP_SOCKET', `unix:/run/bsmtp/milter.sock')
_DEFIFNOT(`BSMTP_PORT', `10027')
_DEFIFNOT(`BSMTP_LISTEN', `127.0.0.1')
ifdef(`BSMTP_MAP', `', `define(`BSMTP_MAP', DATABASE_MAP_TYPE MAIL_SETTINGS_DIR`'bsmtp)')
_DEFIFNOT(`BSMTP_RUN_AS', `bsmtp:bsmtp')
_DEFIFNOT(`BSMTP_AGENTS', `/usr/libexec/bsmtp-tunnel')
_DEFIFNOT(`BSMTP_FILTER', `bsmtp')
_DEFIFNOT(`BSMTP_DAEMON', `bsmtp-resubmit')
_DEFIFNOT(`BSMTP_TIMEOUTS', `C:10s;S:30s;R:60s;E:5m')

dnl --- the milter and the daemon ---------------------------------------------------------------
dnl Only the X line is made now. The list of filters and the daemon's line are made when proto.m4
dnl comes to the client options (the macro _CPO_ is looked at just before InputMailFilters is
dnl written): by then all of sendmail.mc was read, so it does not matter where the site defined
dnl confINPUT_MAIL_FILTERS. And DAEMON_OPTIONS stays as the site has it: using it here would
dnl take port 25 away from a site that relies on the default.
MAIL_FILTER(BSMTP_FILTER, `S='BSMTP_SOCKET`, F=T, T='BSMTP_TIMEOUTS)
define(`_BSMTP_OTHERS_', `')
define(`_BSMTP_ALL_', `')
define(`_BSMTP_OTHER_', `define(`_BSMTP_OTHERS_', ifelse(defn(`_BSMTP_OTHERS_'), `', ``$1'', `defn(`_BSMTP_OTHERS_')`;$1''))define(`_BSMTP_ALL_', defn(`_BSMTP_ALL_')`$1, ')')
define(`_BSMTP_FILTERS_', `ifelse(`$1', `', `', `$1', BSMTP_FILTER, `', `_BSMTP_OTHER_(`$1')')ifelse(eval($# > 1), `1', `_BSMTP_FILTERS_(shift($@))')')
define(`_BSMTP_FAMILY_', `ifelse(index(BSMTP_LISTEN, `:'), `-1', `inet', `inet6')')
define(`_BSMTP_LATE_', `_BSMTP_FILTERS_(translit(defn(`confINPUT_MAIL_FILTERS'), `; 	', `,,,'))define(`confINPUT_MAIL_FILTERS', defn(`_BSMTP_ALL_')BSMTP_FILTER)# unpacked mail comes back here (bsmtp-tunnel)
O DaemonPortOptions=Name=BSMTP_DAEMON, Family=_BSMTP_FAMILY_, Addr=BSMTP_LISTEN, Port=BSMTP_PORT, M=AES, InputMailFilters=_BSMTP_OTHERS_')
define(`_CPO_', defn(`_CPO_')`
_BSMTP_LATE_')

dnl --- configuration -----------------------------------------------------------------------------
LOCAL_CONFIG
# bsmtp-tunnel: the inner side of the tunnel has no DNS; the map of tunneled domains
CPBSMTP.INVALID
Kbsmtp BSMTP_MAP
ifdef(`BSMTP_SOCKETMAP', `Kbsmtp_rules socket -f -q BSMTP_SOCKETMAP
')dnl
divert(-1)

dnl Before the site's own LOCAL_RULE_0, hence before virtusertable, class w and mailertable.
divert(3)
# bsmtp-tunnel
R$* < @ $+ > $*		$: $>bsmtp_route $1 < @ $2 > $3
divert(-1)

dnl Rulesets that have to begin with our rules: sendmail appends a later definition of the same name,
dnl so ours stand before all of proto.m4's and the site's. _QUEUE_GROUP_ is the one place between the
dnl options (OperatorChars) and the first ruleset. The text waits in a diversion of its own.
define(`_QUEUE_GROUP_', defn(`_QUEUE_GROUP_')`
undivert(21)')
divert(21)

##################################################################
###  bsmtp-tunnel: who goes through the tunnel               ###
###	local<@host.>	->	$#mailer or the same address   ###
##################################################################
Sbsmtp_route
# workspace: < host without final dot > < result > address
R$* < @ $+ > $*			$: < $2 > < ? > $1 < @ $2 > $3
R< $+ . > < ? > $*		$: < $1 > < ? > $2
R< $* [ $* > < ? > $*		$@ $3				literals are never tunneled
# what the milter diverted: user%domain@peer.bsmtp.invalid, ...@never.peer.bsmtp.invalid
R< $+ . bsmtp . invalid > < ? > $* < @ $* > $*	$#bsmtp-out $@ $1 . bsmtp.invalid $: $2 < @ $1 . bsmtp.invalid . >
# parcels for this gateway, and its return addresses
R< BSMTP_HOST > < ? > BSMTP_USER < @ $+ > $*	$#bsmtp-in $@ BSMTP_HOST $: BSMTP_USER < @ BSMTP_HOST . >
R< BSMTP_HOST > < ? > BSMTP_USER + $* < @ $+ > $*	$#bsmtp-in $@ BSMTP_HOST $: BSMTP_USER + $1 < @ BSMTP_HOST . >
ifdef(`BSMTP_SOCKETMAP', `# what bsmtp-milter says by the rules of this moment. It answers about every address: the address inside the tunnel, a
# pseudo-domain for one that cannot be diverted, or "direct" (not tunneled, or exempt; no later entry is asked).
# Anything else, silence above all, keeps the mail. Senders, which go nowhere, are not asked about; hosts of class w are
# the static map alone. So mail for local users needs no answer.
R< $* > < ? > $*		$: < $1 > < ? $&{addr_type} > $2
R< $* > < ? e s > $*		$@ $2
R< $* > < ? $* > $*		$: < $1 > < ? > $3
R< $* > < ? > $* < @ $=w . > $*	$: < $1 > < w > $2 < @ $3 . > $4
R< $+ > < ? > $+ < @ $+ > $*	$: < $1 > < : $(bsmtp_rules $2 @ $1 $: ? $) > $2 < @ $3 > $4
# What is left has no local part to ask about: a source route, of a site that keeps them (_USE_DEPRECATED_ROUTE_ADDR_).
R< $* > < ? > $*		$#error $@ 5.1.3 $: "553 source routes are not for this host: the tunnel has no rule for them"
R< $* > < : direct > $*		$@ $2
# The final dot of the host keeps it another recipient than the one that the milter adds: sendmail would drop the
# latter as a duplicate, and then remove the former as the milter asks.
R< $* > < : $+ @ $+ . bsmtp . invalid > $*	$#bsmtp-out $@ $3 . bsmtp.invalid. $: $2 < @ $3 . bsmtp.invalid . >
R< $* > < : $+ . bsmtp . invalid > $* < @ $+ > $*	$#bsmtp-out $@ $2 . bsmtp.invalid $: $3 < @ $4 > $5
R< $* > < : $* > $*		$#error $@ 4.3.5 $: "451 bsmtp-milter does not answer about the recipient; see its socketmap-socket"
R< $* > < w > $*		$: < $1 > < ? > $2
')dnl
# the static map: address, address without +detail, host, parents; what it cannot say for now is 4xx
R< $+ > < ? > $+ < @ $+ > $*	$: < $1 > < $(bsmtp $2 @ $1 $: ? $) > $2 < @ $3 > $4
R< $+ > < ? > $+ + $* < @ $+ > $*	$: < $1 > < $(bsmtp $2 + * @ $1 $: ? $) > $2 + $3 < @ $4 > $5
R< $+ > < ? > $*		$: < $1 > < $(bsmtp $1 $: ? $) > $2
R< $- . $+ > < ? > $*		< $2 > < $(bsmtp . $2 $: ? $) > $3
# not tunneled, if the map is there to say so (sendmail takes a missing map for an empty one): else nothing may
# leave, lest it leave in the clear
R< $* > < ? > $* < @ $=w . > $*	$@ $2 < @ $3 . > $4
R< $* > < ? > $*		$: < $(bsmtp .bsmtp.invalid $: ? $) > < ? > $2
R< ? > < ? > $*			$#error $@ 4.3.5 $: "451 the map of tunneled domains is missing; see bsmtpctl rules export"
R< $* > < ? > $*		$@ $2
R< $* > < direct > $*		$@ $2				exempt: as if there were no tunnel
R< $* > < $+ > $* < @ $+ > $*	$#bsmtp-out $@ $2 $: $3 < @ $4 > $5

###  Nothing is granted to the resubmission daemon's client for being local; Rcpt_ok alone decides.
SRelay_ok
R$*			$: < $&{daemon_name} > $1
R< BSMTP_DAEMON > $*	$@ NO
R< $* > $*		$: $2

###  Clients may not name the inner side. On the resubmission daemon the basic check comes first, so
###  that a Local_check_rcpt that ends early cannot make the tunnel an open relay.
Scheck_rcpt
R$* . bsmtp . invalid		$#error $@ 5.1.2 $: "550 not a mail domain"
R$* . bsmtp . invalid .		$#error $@ 5.1.2 $: "550 not a mail domain"
R$* . bsmtp . invalid > $*	$#error $@ 5.1.2 $: "550 not a mail domain"
R$* . bsmtp . invalid . > $*	$#error $@ 5.1.2 $: "550 not a mail domain"
R$*				$: $1 $| < $&{daemon_name} >
R$* $| < BSMTP_DAEMON >		$: $1 $| $>"Basic_check_rcpt" $1
R$* $| $#error $@ quarantine $*	$: $1
R$* $| $#error $*		$#error $2
R$* $| $*			$: $1

###  Bounces of parcels must find their way home: the return address is nobody to masquerade.
SMasqEnv=94
R`'BSMTP_USER < @ BSMTP_HOST $* > $*	$@ BSMTP_USER < @ BSMTP_HOST . >
R`'BSMTP_USER + $* < @ BSMTP_HOST $* > $*	$@ BSMTP_USER + $1 < @ BSMTP_HOST . >

divert(-1)
