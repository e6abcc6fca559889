/* SPDX-License-Identifier: GPL-3.0-only */
/* libxenevtchn */
#include <xenevtchn.h>
