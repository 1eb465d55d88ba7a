//! Certificates (RFC 5280) as vendors make them.
