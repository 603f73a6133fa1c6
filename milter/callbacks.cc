// libmilter's callbacks; see callbacks.h. libmilter carries no user data of a filter, hence the
// one pointer of this file.
#include "milter/callbacks.h"

#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/log/events.h"
#include "milter/session.h"

namespace bsmtp::milter {
namespace {

Runtime* g_runtime = nullptr;  // set once by open_filter(), before any thread

// Postfix gives 300 s for the end of a message, smtpd's own idle limit is of the same order; a
// client of ours that is silent longer than libmilter's default of two hours is gone.
constexpr int kIdleSeconds = 7210;
constexpr int kBacklog = 1024;
constexpr unsigned long kActions = SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT;
// Steps we have no use for; not even asked for, so that a message costs no round trip for its
// header and body.
constexpr unsigned long kUnused =
    SMFIP_NOHELO | SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOBODY | SMFIP_NODATA | SMFIP_NOUNKNOWN;
// Steps the MTA need not wait for: there is never an answer but "go on". libmilter answers
// for us where an MTA cannot do without.
constexpr unsigned long kNoReply = SMFIP_NR_CONN | SMFIP_NR_MAIL | SMFIP_NR_RCPT;

constexpr std::string_view kOldLibrary =
    "libmilter refuses the filter; is its version older than the one it was built with?";
constexpr std::string_view kSocketHelp =
    "; the form is unix:PATH or inet:PORT@HOST, the directory must exist and be writable for this "
    "user";

// One info line for each of the first recipients; the rest are counted (design 11).
constexpr std::size_t kLoggedRecipients = 2;

struct Connected {
  Session session;
  bool counted = false;                 // in Runtime's number of messages in flight
  std::vector<std::string_view> words;  // of the command in hand, kept for its memory
};

Connected* connected(SMFICTX* context) {
  return static_cast<Connected*>(smfi_getpriv(context));
}

void end_message(Connected& connection) {
  if (std::exchange(connection.counted, false)) {
    g_runtime->message_ends();
  }
}

std::string macro(SMFICTX* context, const char* name) {
  std::string key(name);
  const char* value = smfi_getsymval(context, key.data());
  return value == nullptr ? std::string() : std::string(value);
}

std::string to_text(const sockaddr* address) {
  if (address == nullptr) {
    return {};
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (address->sa_family == AF_INET) {
    std::memcpy(&v4, address, sizeof v4);
    bytes = &v4.sin_addr;
  } else if (address->sa_family == AF_INET6) {
    std::memcpy(&v6, address, sizeof v6);
    bytes = &v6.sin6_addr;
  } else {
    return {};
  }
  const char* result = inet_ntop(address->sa_family, bytes, text.data(), text.size());
  return result == nullptr ? std::string() : std::string(result);
}

sfsistat on_negotiate(SMFICTX* context, unsigned long actions, unsigned long steps, unsigned long,
                      unsigned long, unsigned long* want_actions, unsigned long* want_steps,
                      unsigned long* reserved2, unsigned long* reserved3) {
  if (g_runtime->draining()) {
    return SMFIS_REJECT;  // libmilter closes the connection; the MTA answers 4xx
  }
  if ((actions & kActions) != kActions) {
    try {
      log::alarm("-",
                 "the MTA does not let a milter add recipients with parameters and delete "
                 "them; its mail is refused for now. Postfix 3.0 and sendmail 8.14 do");
    } catch (...) {  // the refusal matters, not the line
    }
    return SMFIS_REJECT;
  }
  *want_actions = kActions;
  *want_steps = (steps & kUnused) | kNoReply;
  *reserved2 = 0;
  *reserved3 = 0;
  if ((actions & SMFIF_SETSYMLIST) != 0) {
    *want_actions |= SMFIF_SETSYMLIST;
    struct Wanted {
      int step;
      const char* names;
    };
    for (const Wanted& wanted : {Wanted{SMFIM_CONNECT, "{daemon_name} {daemon_port}"},
                                 Wanted{SMFIM_ENVFROM, "{auth_authen} {auth_type}"},
                                 Wanted{SMFIM_ENVRCPT, ""}, Wanted{SMFIM_EOM, "i"}}) {
      std::array<char, 64> names{};
      std::strncpy(names.data(), wanted.names, names.size() - 1);
      if (smfi_setsymlist(context, wanted.step, names.data()) != MI_SUCCESS) {
        return SMFIS_REJECT;
      }
    }
  }
  return SMFIS_CONTINUE;
}

sfsistat on_connect(SMFICTX* context, char* /*host*/, _SOCK_ADDR* address) {
  // Without a session every message of the connection ends in TEMPFAIL (on_end_of_message).
  try {
    auto fresh = std::make_unique<Connected>();
    fresh->session.connect(
        {to_text(address), macro(context, "{daemon_name}"), macro(context, "{daemon_port}")});
    delete connected(context);
    if (smfi_setpriv(context, fresh.get()) == MI_SUCCESS) {
      static_cast<void>(fresh.release());  // on_close deletes it
    }
  } catch (...) {
    smfi_setpriv(context, nullptr);
  }
  return SMFIS_NOREPLY;
}

sfsistat on_mail(SMFICTX* context, char** arguments) {
  Connected* connection = connected(context);
  if (connection == nullptr) {
    return SMFIS_NOREPLY;
  }
  if (!connection->counted) {
    connection->counted = true;
    g_runtime->message_begins();
  }
  try {
    MailFrom mail{arguments[0] == nullptr ? "" : arguments[0], macro(context, "{auth_authen}")};
    if (mail.login.empty()) {
      mail.login = macro(context, "{auth_type}");
    }
    connection->session.mail(g_runtime->policy().get(), mail);
  } catch (...) {
    connection->session.fail();
  }
  return SMFIS_NOREPLY;
}

sfsistat on_rcpt(SMFICTX* context, char** arguments) {
  Connected* connection = connected(context);
  if (connection == nullptr) {
    return SMFIS_NOREPLY;
  }
  try {
    connection->words.clear();
    for (char** word = arguments; *word != nullptr; ++word) {
      connection->words.emplace_back(*word);
    }
    connection->session.rcpt(connection->words);
  } catch (...) {
    connection->session.fail();
  }
  return SMFIS_NOREPLY;
}

// Empty parameters must not be sent: sendmail would read them as an argument.
bool add_recipient(SMFICTX* context, Addition& addition) {
  std::string path = str_cat({"<", addition.address, ">"});
  char* params = addition.params.empty() ? nullptr : addition.params.data();
  return smfi_addrcpt_par(context, path.data(), params) == MI_SUCCESS;
}

Status carry_out(SMFICTX* context, Edits& edits) {
  for (Addition& addition : edits.additions) {
    if (!add_recipient(context, addition)) {
      return Status::temporary("4.3.0", "the MTA took no recipient " + addition.address);
    }
  }
  for (std::string& recipient : edits.deletions) {
    if (smfi_delrcpt(context, recipient.data()) != MI_SUCCESS) {
      return Status::temporary("4.3.0", "the MTA did not delete the recipient " + recipient);
    }
  }
  return Status::ok();
}

void log_edits(SMFICTX* context, const Edits& edits) {
  if (edits.additions.empty() && edits.left.empty()) {
    return;
  }
  const std::string queue_id = macro(context, "i");
  for (std::size_t i = 0; i < edits.additions.size() && i < kLoggedRecipients; ++i) {
    log::diverted(queue_id, edits.additions[i].original, edits.additions[i].address);
  }
  if (edits.additions.size() > kLoggedRecipients) {
    log::diverted_more(queue_id, edits.additions.size() - kLoggedRecipients);
  }
  for (std::size_t i = 0; i < edits.left.size() && i < kLoggedRecipients; ++i) {
    log::left_to_map(queue_id, edits.left[i].address, edits.left[i].why);
  }
}

sfsistat on_end_of_message(SMFICTX* context) {
  Connected* connection = connected(context);
  if (connection == nullptr) {
    return SMFIS_TEMPFAIL;
  }
  sfsistat answer = SMFIS_TEMPFAIL;
  try {
    auto edits = connection->session.end_of_message();
    Status status = edits.status();
    if (edits.is_ok()) {
      status = carry_out(context, edits.value());
    }
    if (status.is_ok()) {
      answer = SMFIS_CONTINUE;
      log_edits(context, edits.value());
    } else {
      log::trouble(macro(context, "i"), status);
    }
  } catch (...) {  // out of memory: nothing more to say about it
    answer = SMFIS_TEMPFAIL;
  }
  end_message(*connection);
  return answer;
}

sfsistat on_abort(SMFICTX* context) {
  if (Connected* connection = connected(context); connection != nullptr) {
    connection->session.abort();
    end_message(*connection);
  }
  return SMFIS_CONTINUE;
}

sfsistat on_close(SMFICTX* context) {
  const std::unique_ptr<Connected> connection(connected(context));
  smfi_setpriv(context, nullptr);
  if (connection != nullptr) {
    end_message(*connection);
  }
  return SMFIS_CONTINUE;
}

}  // namespace

void Runtime::message_ends() {
  last_end_ = std::chrono::steady_clock::now().time_since_epoch().count();
  --in_flight_;
}

bool Runtime::is_idle(std::chrono::milliseconds grace) const {
  const std::chrono::steady_clock::duration last(last_end_.load());
  return in_flight_ == 0 && std::chrono::steady_clock::now().time_since_epoch() - last >= grace;
}

Status open_filter(Runtime& runtime, const std::string& socket) {
  g_runtime = &runtime;
  std::string name(kProgram);
  std::string connection(socket);
  smfiDesc filter{};
  filter.xxfi_name = name.data();  // libmilter copies it
  filter.xxfi_version = SMFI_VERSION;
  filter.xxfi_flags = kActions;
  filter.xxfi_connect = on_connect;
  filter.xxfi_envfrom = on_mail;
  filter.xxfi_envrcpt = on_rcpt;
  filter.xxfi_eom = on_end_of_message;
  filter.xxfi_abort = on_abort;
  filter.xxfi_close = on_close;
  filter.xxfi_negotiate = on_negotiate;
  errno = 0;
  if (smfi_setconn(connection.data()) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS ||
      smfi_settimeout(kIdleSeconds) != MI_SUCCESS || smfi_setbacklog(kBacklog) != MI_SUCCESS) {
    return Status::temporary("4.3.0", std::string(kOldLibrary));
  }
  if (smfi_opensocket(false) != MI_SUCCESS) {
    const std::string reason = errno == 0 ? "" : str_cat({": ", std::strerror(errno)});
    return Status::temporary(
        "4.3.0", str_cat({"milter-socket ", socket, ": cannot listen", reason, kSocketHelp}));
  }
  return Status::ok();
}

Status serve() {
  if (smfi_main() != MI_SUCCESS) {
    return Status::temporary("4.3.0", "libmilter stopped; its own message is in the mail log");
  }
  return Status::temporary("4.3.0", "libmilter stopped");
}

}  // namespace bsmtp::milter
