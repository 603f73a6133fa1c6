# The seed's example: athena lies inside the domain tunneled to it. Its users go through, its gateway's own addresses do not.
mark=$(log_mark hub)
check "mail to bob@athena.domain.co.uk is taken" pc_send hub --from alice@domain.com --to bob@athena.domain.co.uk --id inside-1
check "mail to postmaster@athena.domain.co.uk is taken" pc_send hub --from alice@domain.com --to postmaster@athena.domain.co.uk --id inside-2
check "mail to info@sub.domain.co.uk is taken" pc_send hub --from alice@domain.com --to info@sub.domain.co.uk --id inside-3
check_soon 30 "bob@athena arrives" inbox_grep athena bob '^X-Rig-Id: inside-1$'
check_soon 10 "it went through the tunnel" log_has hub "$mark" 'to=<bob%athena.domain.co.uk@remote1.bsmtp.invalid>.*status=sent'
check_soon 30 "postmaster@athena arrives" inbox_grep athena alice '^X-Rig-Id: inside-2$'
check_soon 10 "it went directly: a broken tunnel must not cut off its postmaster" log_has hub "$mark" 'postfix/smtp\[.*to=<postmaster@athena.domain.co.uk>.*status=sent'
check_soon 10 "a subdomain goes through the tunnel" log_has hub "$mark" 'to=<info%sub.domain.co.uk@remote1.bsmtp.invalid>.*status=sent'
check_soon 10 "parcels themselves are not tunneled" log_has hub "$mark" 'postfix/smtp\[.*to=<bsmtp@athena.domain.co.uk>.*status=sent'
check_soon 30 "idle" queue_empty hub
