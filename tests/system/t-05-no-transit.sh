# No transit: zeus cannot reach athena through hub's tunnels, neither by parcel nor by recipient tricks.
before=$(inbox_count athena user); mark=$(log_mark hub); mark_z=$(log_mark zeus)
# zeus' admin (hostile or mistaken) puts mail for domain.co.uk into the parcel for hub.
local_send zeus user@domain.net 'user%domain.co.uk@hub.bsmtp.invalid' transit-1
local_send zeus user@domain.net 'user%athena.domain.co.uk%hub.domain.com@hub.bsmtp.invalid' transit-2
check_soon 40 "zeus' sender is told that hub does not take it" inbox_grep zeus user 'Final-Recipient:.*user@domain.co.uk'
check_soon 30 "the percent form is not relayed either" inbox_grep zeus user 'Final-Recipient:.*athena.domain.co.uk'
check_soon 30 "idle" tunnel_idle
check_equal "athena got nothing of it" "$before" "$(inbox_count athena user)"
check_equal "hub handed nothing to remote1 for it" "" "$(log_since hub "$mark" | grep -E "to=<[^>]*domain.co.uk[^>]*>.*$TO_OUT.*status=sent")"
