// bsmtpctl parcel inspect|verify|extract: parcel files in an admin's hands, outside the spool.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/text.h"
#include "common/mail/line.h"
#include "common/os/fd_stream.h"
#include "common/os/file_ops.h"
#include "common/os/identity.h"
#include "common/parcel/inspect.h"
#include "common/parcel/opener.h"
#include "common/spool/accepted.h"
#include "common/spool/item.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_identity.h"
#include "mda/ctl/ctl_inspection.h"
#include "mda/ctl/ctl_output.h"
#include "mda/receive/message_writer.h"
#include "mda/receive/policy.h"

namespace bsmtp::mda::ctl {
namespace {

// The caller's file as an anonymous one with CRLF line ends (an admin's editor or `mail` saves
// LF), read before the process becomes someone who may not read it.
Result<os::File> canonical_copy(const std::string& path, std::uint64_t limit) {
  os::FileOps& ops = os::real_file_ops();
  TRY_ASSIGN(os::File from, ops.open(path, O_RDONLY | O_NOCTTY, 0));
  TRY_ASSIGN(const os::FileInfo info, ops.stat(from));
  if (info.size > limit) {
    return Status::permanent("5.3.4", printable(path) + " is larger than max-parcel-bytes");
  }
  UniqueFd fd(::memfd_create("parcel", MFD_CLOEXEC));
  if (!fd.valid()) {
    return Status::from_errno("memfd_create", errno);
  }
  os::File to(std::move(fd), path);
  os::FileSource source(ops, from);
  os::FileSink sink(ops, to);
  mail::CrlfNormaliser crlf(sink);
  TRY(copy(source, crlf).status());
  TRY(crlf.finish());
  TRY(sink.finish());
  if (::lseek(to.fd(), 0, SEEK_SET) != 0) {
    return Status::from_errno("lseek", errno);
  }
  return to;
}

class NullHandler final : public batch::Handler {
 public:
  Status begin_message(const mail::Envelope& /*envelope*/, std::size_t /*index*/) override {
    return Status::ok();
  }
  Status text(std::string_view /*stuffed*/) override { return Status::ok(); }
  Status end_message(const mail::TextFacts& /*facts*/) override { return Status::ok(); }
};

// As the owner of the verify home: gpg leaves lock files there.
Result<parcel::OpenResult> verify(Context& context, const Arguments& arguments,
                                  const os::File& file, batch::Handler& handler) {
  const config::Config& config = *context.config;
  TRY(become_owner_of(config.verify_home()));
  TRY_ASSIGN(crypto::Verifier verifier, open_verifier(config));
  parcel::OpenRequest request = open_request(os::real_file_ops(), config, verifier, context.clock);
  request.file = &file;
  if (arguments.has("peer")) {
    const config::Peer* peer = config.peer_for_argument(arguments.value("peer"));
    if (peer == nullptr) {
      return Status::permanent("5.1.1", "no peer " + printable(arguments.value("peer"), 60));
    }
    request.transport_peer = peer->name;
  }
  return parcel::open(request, handler);
}

int report(Context& context, const parcel::OpenResult& result, const std::string& extracted) {
  Json json;
  json.object();
  if (const auto* rejected = std::get_if<parcel::Rejected>(&result)) {
    if (context.json) {
      json.flag("accepted", false)
          .field("verdict", parcel::reject_name(rejected->reason))
          .field("code", reject_code(rejected->reason))
          .field("reason", rejected->why)
          .field("peer", rejected->peer);
      context.out << json.end().text();
    } else {
      context.out << "refused: " << parcel::reject_name(rejected->reason) << " ("
                  << reject_code(rejected->reason) << ")\n  " << printable(rejected->why) << "\n";
    }
    return kExitProblem;
  }
  const auto& opened = std::get<parcel::Opened>(result);
  if (context.json) {
    json.flag("accepted", true)
        .field("peer", opened.peer)
        .field("fingerprint", opened.fingerprint)
        .field("parcel", opened.id)
        .field("digest", opened.digest)
        .field("expires", time_text(opened.expires))
        .count("messages", opened.messages)
        .count("recipients", opened.recipients)
        .count("plain_bytes", opened.plain_bytes)
        .field("extracted_to", extracted);
    context.out << json.end().text();
    return kExitOk;
  }
  context.out << "good: from peer " << opened.peer << "\n"
              << "  signed by  "
              << (opened.fingerprint.empty() ? "nobody (require = transport)" : opened.fingerprint)
              << "\n"
              << "  parcel id  " << opened.id << "\n"
              << "  expires    " << time_text(opened.expires) << "\n"
              << "  content    " << opened.messages << " messages, " << opened.recipients
              << " recipients, " << opened.plain_bytes << " octets\n";
  if (!extracted.empty()) {
    context.out << "  written to " << printable(extracted) << "\n";
  }
  return kExitOk;
}

Status write_new(os::FileOps& ops, const std::string& path, Source& source) {
  TRY_ASSIGN(os::File file, ops.open(path, os::kCreateNew, 0640));
  os::FileSink sink(ops, file);
  TRY(copy(source, sink).status());
  return sink.finish();
}

// Of the first message 000001.eml (its text) and 000001.envelope (its head), and so on.
Status split_messages(os::FileOps& ops, MessageWriter& writer, const std::string& directory) {
  TRY(writer.finish());
  std::uint64_t number = 0;
  for (const WrittenMessage& message : writer.messages()) {
    TRY_ASSIGN(
        const spool::ItemReader item,
        spool::ItemReader::open(ops, writer.file(), {message.offset, message.item_bytes}, {}));
    const std::string path = str_cat({directory, "/", spool::accepted_message_name(++number)});
    TRY(write_new(ops, path + ".eml", *item.plain_text()));
    os::RangeSource head(ops, *writer.file(), message.offset, item.text_offset());
    TRY(write_new(ops, path + ".envelope", head));
  }
  return ops.unlink(str_cat({directory, "/", spool::kAcceptedMessagesName}));
}

// A new directory of the caller's, given to the owner of the verify home. The descriptor reaches
// it where that user could not walk (below /root, say).
Result<UniqueFd> make_target(const std::string& path, const std::string& owner_of) {
  if (::mkdir(path.c_str(), 0750) != 0) {
    return Status::permanent("5.5.4", str_cat({"cannot make ", printable(path), ": ",
                                               Status::from_errno("", errno).text(),
                                               "; name a directory that does not exist yet"}));
  }
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return Status::from_errno(path, errno);
  }
  if (os::has_root()) {
    const auto owner = os::owner_of(owner_of);
    if (owner.is_ok() && ::fchown(fd.get(), owner->uid, owner->gid) != 0) {
      return Status::from_errno(path, errno);
    }
  }
  return fd;
}

}  // namespace

Result<int> parcel_inspect(Context& context, const Arguments& arguments) {
  // Works on a machine without our configuration: then with the limits' defaults.
  parcel::Limits limits;
  parcel::Sandbox sandbox = parcel::Sandbox::kAuto;
  if (const auto config = config::load(context.config_file); config.is_ok()) {
    limits = parcel_limits(*config);
    sandbox = parcel_sandbox(*config);
  } else if (!context.config_file.empty()) {
    return config.status();
  }
  TRY_ASSIGN(const os::File file, canonical_copy(arguments.word(0), limits.parcel_bytes));
  TRY_ASSIGN(const auto inspection, parcel::inspect(os::real_file_ops(), file, limits, sandbox));
  if (context.json) {
    Json json;
    inspection_json(json, inspection);
    context.out << json.text();
  } else {
    print_inspection(context.out, inspection);
  }
  return inspection.problem.empty() ? kExitOk : kExitProblem;
}

Result<int> parcel_verify(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const os::File file,
             canonical_copy(arguments.word(0), context.config->max_parcel_bytes));
  NullHandler handler;
  TRY_ASSIGN(const auto result, verify(context, arguments, file, handler));
  return report(context, result, "");
}

Result<int> parcel_extract(Context& context, const Arguments& arguments) {
  TRY_ASSIGN(const os::File file,
             canonical_copy(arguments.word(0), context.config->max_parcel_bytes));
  const std::string target = arguments.value("to");
  TRY_ASSIGN(const UniqueFd directory, make_target(target, context.config->verify_home()));
  os::FileOps& ops = os::real_file_ops();
  const std::string inside = "/proc/self/fd/" + std::to_string(directory.get());
  MessageWriter writer(ops, inside);
  auto result = verify(context, arguments, file, writer);
  Status done = result.status();
  const bool good = result.is_ok() && std::holds_alternative<parcel::Opened>(*result);
  if (good) {
    done = split_messages(ops, writer, inside);
  }
  if (!good || !done.is_ok()) {  // nothing unverified stays behind
    const auto names = ops.list(inside);
    for (const std::string& name : names.is_ok() ? *names : std::vector<std::string>{}) {
      (void)os::remove_if_exists(ops, str_cat({inside, "/", name}));
    }
    (void)::rmdir(target.c_str());
  }
  TRY(done);
  return report(context, *result, target);
}

}  // namespace bsmtp::mda::ctl
