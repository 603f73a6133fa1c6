// The milters that milter_bench compares bsmtp-milter with, written straight on libmilter:
//   nothing  no callback at all: the MTA only asks at the end of a message
//   listen   gets MAIL, RCPT and the end of a message, says "continue"
//   edit     as listen, remembers recipients of one domain and replaces them at the end
//   quiet-listen, quiet-edit  the same, and the MTA need not wait before the end of a message,
//            as with bsmtp-milter: what remains is the work of the filter itself
// "edit" is what a diverting milter cannot do without: no rules, no case folding, no NOTIFY.
#include <libmilter/mfapi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Recipients = std::vector<std::string>;

constexpr std::string_view kSuffix = "@domain.co.uk>";

sfsistat go_on(SMFICTX* /*context*/, char** /*arguments*/) {
  return SMFIS_CONTINUE;
}

sfsistat keep_recipient(SMFICTX* context, char** arguments) {
  const std::string_view recipient = arguments[0];
  if (recipient.ends_with(kSuffix)) {
    auto* kept = static_cast<Recipients*>(smfi_getpriv(context));
    if (kept == nullptr) {
      kept = new Recipients;
      smfi_setpriv(context, kept);
    }
    kept->emplace_back(recipient);
  }
  return SMFIS_CONTINUE;
}

sfsistat done(SMFICTX* context) {
  delete static_cast<Recipients*>(smfi_getpriv(context));
  smfi_setpriv(context, nullptr);
  return SMFIS_CONTINUE;
}

sfsistat nothing_at_end(SMFICTX* /*context*/) {
  return SMFIS_CONTINUE;
}

sfsistat replace_recipients(SMFICTX* context) {
  if (auto* kept = static_cast<Recipients*>(smfi_getpriv(context)); kept != nullptr) {
    for (std::string& recipient : *kept) {
      const std::string user = recipient.substr(1, recipient.size() - 1 - kSuffix.size());
      std::string diverted = "<" + user + "%domain.co.uk@remote1.bsmtp.invalid>";
      std::string params = "ORCPT=rfc822;" + user + "@domain.co.uk";
      smfi_addrcpt_par(context, diverted.data(), params.data());
      smfi_delrcpt(context, recipient.data());
    }
  }
  return done(context);
}

sfsistat quiet(SMFICTX* /*context*/, unsigned long /*actions*/, unsigned long steps, unsigned long,
               unsigned long, unsigned long* want_actions, unsigned long* want_steps,
               unsigned long* reserved2, unsigned long* reserved3) {
  *want_actions = SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT;
  *want_steps = (steps & (SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOHDRS | SMFIP_NOEOH |
                          SMFIP_NOBODY | SMFIP_NODATA | SMFIP_NOUNKNOWN)) |
                SMFIP_NR_MAIL | SMFIP_NR_RCPT;
  *reserved2 = *reserved3 = 0;
  return SMFIS_CONTINUE;
}

sfsistat go_on_quietly(SMFICTX* /*context*/, char** /*arguments*/) {
  return SMFIS_NOREPLY;
}

sfsistat keep_recipient_quietly(SMFICTX* context, char** arguments) {
  keep_recipient(context, arguments);
  return SMFIS_NOREPLY;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: milter_peer nothing|[quiet-]listen|[quiet-]edit SOCKET\n", stderr);
    return 2;
  }
  const std::string_view mode = argv[1];
  std::string name = "peer";
  smfiDesc filter{};
  filter.xxfi_name = name.data();
  filter.xxfi_version = SMFI_VERSION;
  if (mode != "nothing") {
    filter.xxfi_envfrom = go_on;
    filter.xxfi_envrcpt = mode == "edit" ? keep_recipient : go_on;
    filter.xxfi_eom = mode == "edit" ? replace_recipients : nothing_at_end;
    filter.xxfi_abort = done;
    filter.xxfi_close = done;
  }
  if (mode.starts_with("quiet-")) {
    filter.xxfi_negotiate = quiet;
    filter.xxfi_envfrom = go_on_quietly;
    filter.xxfi_envrcpt = mode.ends_with("edit") ? keep_recipient_quietly : go_on_quietly;
    filter.xxfi_eom = mode.ends_with("edit") ? replace_recipients : nothing_at_end;
  }
  if (mode != "nothing") {
    filter.xxfi_flags = SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT;
  }
  smfi_setconn(argv[2]);
  if (smfi_register(filter) != MI_SUCCESS) {
    return 1;
  }
  return smfi_main();
}
