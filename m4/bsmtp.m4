divert(-1)
dnl Makes FEATURE(`bsmtp') and MAILER(`bsmtp') known to a sendmail.mc although sendmail's own
dnl cf/ tree stays untouched. Include it anywhere between cf.m4 and the first of the two:
dnl
dnl	include(`/usr/share/bsmtp-tunnel/m4/bsmtp.m4')dnl
dnl
dnl A site that prefers links in the cf/ tree (feature/bsmtp.m4, mailer/bsmtp.m4) needs no include.
dnl Only these two names are looked up here; everything else goes to sendmail's own macros.

ifdef(`OSTYPE', `', `errprint(`*** ERROR: include bsmtp.m4 after cf.m4
')')
dnl This file's folder, as cf.m4 finds its own; __file__ is GNU m4's, elsewhere define it yourself.
ifdef(`_BSMTP_M4_DIR_', `', `ifdef(`__file__',
	`define(`_BSMTP_M4_DIR_', substr(__file__, 0, eval(len(__file__) - 8)))',
	`define(`_BSMTP_M4_DIR_', `/usr/share/bsmtp-tunnel/m4/')')')

ifdef(`_BSMTP_SITE_FEATURE_', `', `
define(`_BSMTP_SITE_FEATURE_', defn(`FEATURE'))
define(`_BSMTP_SITE_MAILER_', defn(`MAILER'))
')
define(`FEATURE', `ifelse(`$1', `bsmtp',
`pushdef(`_CF_DIR_', _BSMTP_M4_DIR_)_BSMTP_SITE_FEATURE_($@)popdef(`_CF_DIR_')',
`_BSMTP_SITE_FEATURE_($@)')')
define(`MAILER', `ifelse(`$1', `bsmtp',
`pushdef(`_CF_DIR_', _BSMTP_M4_DIR_)_BSMTP_SITE_MAILER_($@)popdef(`_CF_DIR_')',
`_BSMTP_SITE_MAILER_($@)')')
divert(0)dnl
