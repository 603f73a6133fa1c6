// The handlers behind the command table, one per row. Each prints its result to context.out, as
// JSON when context.json, and returns the exit code (ctl_commands.h says what they mean).
#pragma once

#include "mda/ctl/ctl_commands.h"

namespace bsmtp::mda::ctl {

Result<int> config_check(Context& context, const Arguments& arguments);
Result<int> postfix_check(Context& context, const Arguments& arguments);
Result<int> postfix_enable(Context& context, const Arguments& arguments);
Result<int> postfix_disable(Context& context, const Arguments& arguments);
Result<int> sendmail_enable(Context& context, const Arguments& arguments);
Result<int> sendmail_disable(Context& context, const Arguments& arguments);
Result<int> sendmail_check(Context& context, const Arguments& arguments);
Result<int> config_describe(Context& context, const Arguments& arguments);
Result<int> config_show(Context& context, const Arguments& arguments);

Result<int> key_generate(Context& context, const Arguments& arguments);
Result<int> key_list(Context& context, const Arguments& arguments);
Result<int> key_export(Context& context, const Arguments& arguments);
Result<int> key_fingerprint(Context& context, const Arguments& arguments);
Result<int> key_import(Context& context, const Arguments& arguments);

Result<int> peer_list(Context& context, const Arguments& arguments);
Result<int> peer_add(Context& context, const Arguments& arguments);
Result<int> peer_bypass(Context& context, const Arguments& arguments);

Result<int> spool_create(Context& context, const Arguments& arguments);
Result<int> queue_list(Context& context, const Arguments& arguments);
Result<int> queue_show(Context& context, const Arguments& arguments);
Result<int> queue_flush(Context& context, const Arguments& arguments);

Result<int> parcel_list(Context& context, const Arguments& arguments);
Result<int> parcel_show(Context& context, const Arguments& arguments);
Result<int> parcel_resend(Context& context, const Arguments& arguments);
Result<int> parcel_release(Context& context, const Arguments& arguments);
Result<int> parcel_fail(Context& context, const Arguments& arguments);
Result<int> clock_accept(Context& context, const Arguments& arguments);
Result<int> parcel_inspect(Context& context, const Arguments& arguments);
Result<int> parcel_verify(Context& context, const Arguments& arguments);
Result<int> parcel_extract(Context& context, const Arguments& arguments);

Result<int> quarantine_list(Context& context, const Arguments& arguments);
Result<int> quarantine_show(Context& context, const Arguments& arguments);
Result<int> quarantine_release(Context& context, const Arguments& arguments);
Result<int> quarantine_drop(Context& context, const Arguments& arguments);

Result<int> status_show(Context& context, const Arguments& arguments);

Result<int> rules_test_command(Context& context, const Arguments& arguments);
Result<int> rules_export_command(Context& context, const Arguments& arguments);

Result<int> sendmail_dn(Context& context, const Arguments& arguments);

Result<int> completion(Context& context, const Arguments& arguments);

// Appends one [peer.NAME] `key = value` line to peers.d/<peer>.conf beside the configuration
// file (made when missing), atomically, and proves that the configuration still loads; else the
// old file is put back. Shared by `key import` and `peer add`.
struct PeerLine {
  std::string key;
  std::string value;
};
Status write_peer_lines(const Context& context, const std::string& peer,
                        const std::vector<PeerLine>& lines);

// Reads a file of the caller, "-" is standard input; at most `limit` octets.
Result<std::string> read_user_file(const std::string& path, std::size_t limit);

}  // namespace bsmtp::mda::ctl
