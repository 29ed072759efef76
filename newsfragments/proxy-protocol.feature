`--proxy-protocol` believes the PROXY headers (versions 1 and 2) of trusted networks.
