PUSHDIVERT(-1)
dnl MAILER(`bsmtp'): the two agents as program mailers; after MAILER(`smtp'), whose rulesets they use.
dnl
dnl F=S is essential: without it sendmail runs an agent as the local sender of the message. With it
dnl the agent starts with real uid 0 and effective uid U=, and gives up root for good by itself before
dnl it looks at mail. Never add `l': sendmail would hand recipients of different peers to one call.
dnl D, F, M, x would add header fields, P a Return-Path; what a user wrote travels as it is.
dnl
dnl The agents speak LMTP on standard input and output (F=z): one serves many messages, each recipient
dnl has a reply of its own, NOTIFY, ORCPT, ENVID and RET travel on. A session may serve recipients of
dnl several hosts, so nothing about a message stands in the arguments.
dnl define(`BSMTP_PIPE') before: an agent for each message instead, judged by its exit code.
ifdef(`_BSMTP_FEATURE_', `', `errprint(`*** ERROR: MAILER(bsmtp) needs FEATURE(bsmtp) before it
')')
ifdef(`_MAILER_smtp_', `', `errprint(`*** ERROR: MAILER(bsmtp) must come after MAILER(smtp)
')')
ifdef(`BSMTP_PIPE', `
_DEFIFNOT(`BSMTP_OUT_FLAGS', `Smnu8')
_DEFIFNOT(`BSMTP_IN_FLAGS', `Snu8')
_DEFIFNOT(`BSMTP_OUT_ARGS', `bsmtp-out --peer $h --queue-id $i --envid ${dsn_envid} --ret ${dsn_ret} --sender $g -- $u')
_DEFIFNOT(`BSMTP_IN_ARGS', `bsmtp-in --queue-id $i --sender $g --client ${client_addr} -- $u')
define(`_BSMTP_WIRE_', `L=0, T=DNS/RFC822/X-Unix')
', `
_DEFIFNOT(`BSMTP_OUT_FLAGS', `SmnuzX8')
_DEFIFNOT(`BSMTP_IN_FLAGS', `SnuzX8')
_DEFIFNOT(`BSMTP_OUT_ARGS', `bsmtp-out --lmtp')
_DEFIFNOT(`BSMTP_IN_ARGS', `bsmtp-in --lmtp')
define(`_BSMTP_WIRE_', `E=\r\n, L=0, T=DNS/RFC822/SMTP')
')
POPDIVERT
VERSIONID(`bsmtp-tunnel: mailer/bsmtp.m4')

Mbsmtp-out,	P=BSMTP_AGENTS/bsmtp-out, F=_MODMF_(BSMTP_OUT_FLAGS, `BSMTP_OUT'), S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP/HdrFromSMTP, U=BSMTP_RUN_AS, _BSMTP_WIRE_,
		A=BSMTP_OUT_ARGS
Mbsmtp-in,	P=BSMTP_AGENTS/bsmtp-in, F=_MODMF_(BSMTP_IN_FLAGS, `BSMTP_IN'), S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP/HdrFromSMTP, U=BSMTP_RUN_AS, _BSMTP_WIRE_,
		A=BSMTP_IN_ARGS
