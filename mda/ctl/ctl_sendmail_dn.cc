// bsmtpctl sendmail dn: what sendmail's access map must hold for a certificate. sendmail compares
// texts that it makes with X509_NAME_oneline and encodes; here the same texts are made with the
// same call, buffer size and encoding (common/crypto/cert_names.h), so that nobody guesses them.
#include "common/base/text.h"
#include "common/crypto/cert_names.h"
#include "mda/ctl/ctl_handlers.h"
#include "mda/ctl/ctl_output.h"

namespace bsmtp::mda::ctl {
namespace {

constexpr std::size_t kMaxCertificateFile = std::size_t{1} << 20U;

void warn(Context& context, const std::string& what) {
  context.err << "bsmtpctl: warning: " << what << "\n";
}

void warn_about(Context& context, const std::string& file, const crypto::CertNames& names) {
  if (names.subject_cut || names.issuer_cut) {
    warn(context, str_cat({file,
                           ": the DN is longer than sendmail's buffer; the key holds the part that "
                           "sendmail sees, which other certificates may share"}));
  }
  if (names.subject.empty() || names.issuer.empty()) {
    warn(context, str_cat({file,
                           ": an empty DN gives no usable key; have the certificate issued anew "
                           "with a subject"}));
  }
}

}  // namespace

Result<int> sendmail_dn(Context& context, const Arguments& arguments) {
  const std::string file = printable(arguments.word(0));
  TRY_ASSIGN(const std::string text, read_user_file(arguments.word(0), kMaxCertificateFile));
  TRY_ASSIGN(const crypto::CertNames names, crypto::cert_names(text, file));
  warn_about(context, file, names);
  if (context.json) {
    Json json;
    json.object()
        .field("file", arguments.word(0))
        .field("cert_issuer", names.issuer)
        .field("cert_subject", names.subject)
        .field("cn_issuer", names.cn_issuer)
        .field("cn_subject", names.cn_subject)
        .flag("issuer_cut", names.issuer_cut)
        .flag("subject_cut", names.subject_cut)
        .key("keys")
        .array()
        .string("CERTISSUER:" + names.issuer)
        .string("CERTSUBJECT:" + names.subject)
        .end()
        .key("requirements")
        .array()
        .string("CN:" + names.cn_subject)
        .string("CS:" + names.subject)
        .string("CI:" + names.issuer)
        .end();
    context.out << json.end().text();
    return kExitOk;
  }
  context.out << "# keys of the access map\n"
              << "CERTISSUER:" << names.issuer << "\n"
              << "CERTSUBJECT:" << names.subject << "\n"
              << "# requirements, behind VERIFY+ (the next behind ++)\n"
              << "CN:" << names.cn_subject << "\n"
              << "CS:" << names.subject << "\n"
              << "CI:" << names.issuer << "\n";
  return kExitOk;
}

}  // namespace bsmtp::mda::ctl
