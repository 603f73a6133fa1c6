# lmtp_bench starts this program as it starts bsmtp-out --lmtp.
add_executable(lmtp_sink EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/lmtp_sink.cc)
target_link_libraries(lmtp_sink PRIVATE bsmtp_flags)
target_link_options(lmtp_sink PRIVATE -static-libstdc++ -static-libgcc)
set_target_properties(lmtp_sink PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test-tools)
add_dependencies(benchmarks lmtp_sink)
